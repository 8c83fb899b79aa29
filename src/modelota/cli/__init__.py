"""Parse, call one room, render errors with remedies."""
