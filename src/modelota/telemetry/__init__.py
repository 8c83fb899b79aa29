"""What a device may say about itself: profile and probes. An unknown reading is None with a reason."""
