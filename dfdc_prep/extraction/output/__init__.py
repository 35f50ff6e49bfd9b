"""Where an extraction writes: on a disk, in a bucket, alone or as one of several slices."""
