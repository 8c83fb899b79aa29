"""What the page shows: one module per matter, each with its `HANDLERS`."""
