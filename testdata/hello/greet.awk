# One line of HTML for each name.
BEGIN { print "<!doctype html><title>hello</title><ul>" }
NF    { printf "<li>%s, %s!</li>\n", greeting, $0 }
END   { print "</ul>" }
