"""Large bodies on disk: the spool, and JSON read and written around it."""
