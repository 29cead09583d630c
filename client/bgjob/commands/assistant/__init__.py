"""The command `bgjob mcp`: what an assistant may ask and do, how it is answered, and how it is served."""
