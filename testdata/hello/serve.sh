#!/bin/sh
exec httpd -f -p "$PORT" -h "$1"
