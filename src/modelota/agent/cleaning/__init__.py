"""Cleaning: what a removed model, or a removed agent, left on the device is found, shown, removed and proven (7.4)."""
