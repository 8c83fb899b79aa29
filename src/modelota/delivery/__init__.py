"""What may be trusted and how it arrives: object stores, TUF, catalog evaluation, planner, fetch."""
