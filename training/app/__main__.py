"""`python -m training.app RUN`: the same as `dfdc-prep app RUN`."""

from training.app.command import main

if __name__ == "__main__":
    main()
