"""The sampler: answers with any checkpoint, in a process of its own."""
