"""What all commands share: option types and error reporting."""
