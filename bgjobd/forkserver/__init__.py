"""The fork server: stands alone on the standard library, so that it can run under the application's interpreter.

Nothing of bgjobd outside this folder may be imported here, nor asyncio, threads or third parties.
"""
