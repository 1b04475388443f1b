"""The wire: messages, codecs, frames and the session, all without I/O."""
