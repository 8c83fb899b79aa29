"""One measured check per requirement id."""
