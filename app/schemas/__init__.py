"""From a caller's body to an `ImageRequest`: decoding, normalising spellings, validating."""
