"""Jobs, the worker that evaluates them, and the executors that hand them out."""
