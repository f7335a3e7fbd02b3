"""Where models live: a directory or an S3 bucket, the index of what is served, and versions that never change."""
