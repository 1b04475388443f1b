"""Who a caller is: tokens, keys, revocation."""
