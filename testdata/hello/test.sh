#!/bin/sh
# The page greets everybody once.
set -eu
page=$1
greeted=$(grep -c '^<li>.*!</li>$' "$page")
wanted=$(wc -l < names.txt)
if [ "$greeted" -ne "$wanted" ]; then
    echo "greeted $greeted of $wanted" >&2
    exit 1
fi
echo "greeted all $wanted" | tee /tmp/tested
