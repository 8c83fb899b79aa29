"""What two processes must agree on: plain data with limits, no input or output."""
