"""Reading and writing manifests, and columns at the speed of Arrow."""
