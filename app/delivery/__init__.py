"""How a caller takes the answer of a call: on its connection, as a stream, as a task, or from an earlier call."""
