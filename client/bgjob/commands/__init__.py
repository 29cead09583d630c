"""The commands of `bgjob`: a module for what belongs together, a function for each; no rule about jobs is here."""
