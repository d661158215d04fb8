FROM scratch
ADD --chown=1:2 --chmod=755 --link --keep-git-dir=true --checksum=sha256:aa --unpack=false --exclude=*.o --exclude=b a /b/
ADD --keep-git-dir=FALSE --unpack https://x/y.tar /
