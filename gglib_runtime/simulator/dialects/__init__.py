"""The shapes of answers: each fills `Dialect` of `generation.py` for one API.

What llama-server answers has plain names; what OpenAI's and Anthropic's own services answer is
`Hosted…` where the two differ. Not here: what the answers say.
"""
