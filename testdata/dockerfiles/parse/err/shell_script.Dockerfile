#!/bin/sh
set -e
echo hi
