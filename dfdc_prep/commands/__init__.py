"""The commands: each a function that declares its options, and is called from Python too."""
