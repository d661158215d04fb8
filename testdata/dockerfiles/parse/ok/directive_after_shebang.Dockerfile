#!/usr/bin/env docker
# syntax=a/b
# check=skip=all
FROM scratch
