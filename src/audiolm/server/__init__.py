"""`audiolm serve`: the page, and the verbs over HTTP (extra `[page]`).

app.py       routes: a request becomes fields and a recording, then work, then an answer
gate.py      what every request passes first: host, token, size, headers
refusals.py  whatever goes wrong as one line of JSON and a status
fields.py    the fields of each verb, typed
uploads.py   a file that came with a request as a recording
served.py    the models that requests may name, and what each can do
verbs.py     one function per verb: recording and fields to sound, in blocks
work.py      threads that do the work, and the bounded queue before them
answers.py   sound sent as it is made, to a client that may go away
openapi.py   the description of all this, made of the fields
page/        static files; they load nothing from elsewhere
"""
