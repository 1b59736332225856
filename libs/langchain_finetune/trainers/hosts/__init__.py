"""How the hosts are spoken to: a seam of few functions, a module for each API, one judgment of refusals."""
