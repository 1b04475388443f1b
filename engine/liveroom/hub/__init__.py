"""The hub: rooms of this worker, group commit, the beat, fan-out (layer 6)."""
