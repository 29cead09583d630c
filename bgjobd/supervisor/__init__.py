"""Starts, watches, stops and adopts processes: fork servers, attempts, hooks, the page; decides nothing about jobs."""
