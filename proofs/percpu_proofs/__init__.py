"""What checks the specification: conformance with recorded kernels, searches, the command line."""
