"""What survives power loss: durable writes with the ledger, SQLite, slots, staging, assembly."""
