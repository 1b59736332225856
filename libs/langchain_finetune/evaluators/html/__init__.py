"""The report as one HTML file: no script, no network, every text of a run escaped."""
