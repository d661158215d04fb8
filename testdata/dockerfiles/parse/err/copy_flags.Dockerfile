FROM scratch
COPY --link= a b
COPY --link=yes a b
COPY --chown a b
COPY --chown=1 --chown=2 a b
COPY --lnk a b
COPY --zzzzzz a b
COPY --from=$X a b
COPY --from="x'y" a b
