"""The device: state machine, journal, supervisor, worker, socket."""
