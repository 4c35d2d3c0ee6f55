"""A language model behind an HTTP server that speaks the chat completions of OpenAI's interface."""
