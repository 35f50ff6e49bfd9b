"""Pictures that show the same or nearly the same."""
