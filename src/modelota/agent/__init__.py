"""The device: state machine, journal, supervisor, worker, socket."""

from modelota.agent.agent import Agent as Agent
