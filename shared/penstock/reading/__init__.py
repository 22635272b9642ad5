"""Reads the YAML files of an app directory into `models`, one module per kind of file, and collects every problem with
its place.

`places` says where things stand and gathers problems, `documents` turns YAML into nodes, `tables` takes mappings apart,
`scopes` checks the expressions; `available` lists what INTERFACE describes and this version does not perform.
"""
