"""The report: one HTML file that needs nothing else, of the specification or of one subject."""
