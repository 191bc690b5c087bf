"""Objects: named byte strings in a folder or in S3."""
