"""A chat completion: what the client asked, what the engine is to do, what the client is answered. Pure."""
