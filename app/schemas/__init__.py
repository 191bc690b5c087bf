"""From a caller's body to an `ImageRequest`: decoding, normalizing spellings, validating."""
