"""The console: what a browser is served, and who is logged in with one. The pages are in `static`; its `pages.js`
says how to add one.
"""
