"""The owner's page: a process of its own, a client of the agent's socket like any other (`docs/page.md`)."""
