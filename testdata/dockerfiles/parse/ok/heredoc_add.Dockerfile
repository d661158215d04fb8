FROM scratch
ADD <<robots.txt /srv/
User-agent: *
robots.txt
