"""Files on a disk or in a bucket: URLs, reading and writing whole objects, leases, scratch."""
