"""What each reason means and what to do about it, for a developer who has just been given it.

One place serves docs/reasons.md and the page of `gateway dev`. The short sentence that goes into the answer itself
stands in the table in `decision.py`; this says more, and nothing about the request at hand.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.core.decision import Reason

EXPLANATIONS: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.REQUEST_MALFORMED: (
            "The bytes are not HTTP/1.1 as the standard has it, or could be read in more than one way. Use an ordinary "
            "HTTP client, and send each of Host, Content-Type and Content-Length once."
        ),
        Reason.HEADERS_TOO_LARGE: (
            "The request line and the headers together are longer than the gateway reads. Send fewer or shorter "
            "headers; cookies are the usual cause, and the gateway has no use for them."
        ),
        Reason.HEADER_TIMEOUT: (
            "The connection was open, but the headers did not arrive whole in time. Send the request in one go, and "
            "look for a proxy in between that holds bytes back."
        ),
        Reason.PATH_UNKNOWN: (
            "There is no GraphQL endpoint and no route at this path; paths are compared character for character. Check "
            "for a trailing slash, a doubled slash, capitals and percent-encoding."
        ),
        Reason.METHOD_NOT_ALLOWED: (
            "The path exists, but not for this method. Use one that the Allow header of the answer lists; GraphQL is "
            "POST only."
        ),
        Reason.NOT_ACCEPTABLE: (
            "The Accept header allows neither of the two media types that GraphQL is answered in. Accept "
            "application/graphql-response+json or application/json, or leave the header out."
        ),
        Reason.UNSUPPORTED_MEDIA_TYPE: (
            "The body is not declared as JSON in UTF-8, or it is compressed. Send Content-Type: application/json and "
            "no Content-Encoding."
        ),
        Reason.EXPECTATION_FAILED: (
            "The Expect header asks for something else than 100-continue. Leave the header out."
        ),
        Reason.BODY_TOO_LARGE: (
            "The body is longer than the gateway takes, or its arguments hold more values than it judges in one "
            "request. Split the request into several, and do not use one long list at many places."
        ),
        Reason.BODY_TIMEOUT: (
            "The headers came, but the body did not arrive whole in time. Send it without pauses, and check that "
            "Content-Length is the length in bytes, not in characters."
        ),
        Reason.WRONG_REGION: (
            "The app of this credential lives in another region than the host that was asked. Send the request to the "
            "host that the answer names."
        ),
        Reason.CREDENTIAL_MISSING: (
            "There is no Authorization header. Send the API key or the user token as 'Authorization: Bearer', a "
            "space, and the token."
        ),
        Reason.CREDENTIAL_MALFORMED: (
            "The Authorization header does not hold one well-formed token: another scheme, two headers, a typing error "
            "or a token cut short. Copy the token again, whole; its last characters are check digits."
        ),
        Reason.CREDENTIAL_INVALID: (
            "The token is well-formed but does not count: it is unknown, revoked or expired, and answers do not tell "
            "which. Ask whoever manages the keys of the app; the gateway's log says more."
        ),
        Reason.BODY_MALFORMED: (
            "The body of a request that the gateway answers itself is not the JSON that this route takes, or repeats a "
            "name. Send what the answer asks for, and nothing beside it."
        ),
        Reason.MESSAGE_MALFORMED: (
            "The body is not one JSON object with the members query, variables, operationName and extensions, or it is "
            "JSON that parsers read differently, as with a name given twice. Send plain UTF-8 JSON, one operation at a "
            "time."
        ),
        Reason.MESSAGE_TOO_DEEP: (
            "The JSON of the body nests objects and lists deeper than is read. Flatten the variables."
        ),
        Reason.DOCUMENT_INVALID: (
            "The GraphQL document has a syntax error or contradicts itself or the schema: a fragment that cannot "
            "apply, a type or directive that does not exist, a variable that is not declared. Validate it against the "
            "schema with your GraphQL tooling."
        ),
        Reason.DOCUMENT_TOO_LARGE: (
            "The text of the GraphQL document is longer than is read. Move long values into variables, and ask for "
            "less at a time."
        ),
        Reason.DOCUMENT_TOO_MANY_TOKENS: (
            "The document has more names, signs and values than are read. Ask for fewer fields at a time, and move "
            "long lists into variables."
        ),
        Reason.DOCUMENT_TOO_DEEP: (
            "Selections, or values written into the document, are nested deeper than is allowed. Follow fewer links in "
            "one operation, and start anew from what the first one returned."
        ),
        Reason.DOCUMENT_TOO_MANY_ALIASES: (
            "The operation uses more aliases than are allowed, each fragment counted wherever it is spread. Send "
            "several operations instead of one that asks the same field many times."
        ),
        Reason.DOCUMENT_TOO_MANY_ROOT_FIELDS: (
            "The operation selects more fields at its root than are allowed, each fragment counted wherever it is "
            "spread. Send several operations."
        ),
        Reason.OPERATION_AMBIGUOUS: (
            "The document has several operations and none was chosen, or none of the name that was. Set operationName "
            "to the exact name of one of them."
        ),
        Reason.OPERATION_UNSUPPORTED: (
            "Subscriptions, documents that mix queries with mutations, and kinds of operation that the schema lacks "
            "are not served. Send one query or mutation."
        ),
        Reason.FIELD_UNKNOWN: (
            "The schema that the gateway holds has no such field on this type. Check the spelling; if the API is newer "
            "than the schema, whoever runs the gateway has to add the field and decide who may use it."
        ),
        Reason.ARGUMENT_UNKNOWN: (
            "The schema that the gateway holds has no such argument, or no such field on this input type. Check the "
            "spelling, and remove what is not in the schema."
        ),
        Reason.FIELD_CLOSED: (
            "Nobody with this kind of credential may use this field, type or value, whatever its scopes; without "
            "introspection, a field that does not exist reads the same. Leave it out, or ask whoever runs the gateway "
            "to open it."
        ),
        Reason.SCOPE_MISSING: (
            "The API key lacks a scope that this field demands; required_scopes lists what would do, any of the outer "
            "lists and all of an inner one. Use a key that holds them, or have one created."
        ),
        Reason.KEYS_ONLY: (
            "User tokens may not use this; API keys of the app's own servers may. Leave it out on a device, or have "
            "your server ask."
        ),
        Reason.INTROSPECTION_CLOSED: (
            "Asking for __schema or __type is closed to this credential. Use the schema file you were given, or a "
            "credential for which introspection is open."
        ),
        Reason.NOT_OWN_DATA: (
            "A user token reaches the data of its own user only, and this value names somebody else, or nobody where "
            "somebody must be named. Pass the user's own id exactly as it was issued, or leave an optional argument "
            "out."
        ),
        Reason.NOT_OWN_APP: (
            "A credential reaches its own app only, and this value names another app, or none where one must be named. "
            "Pass the id of the app that the credential belongs to."
        ),
        Reason.PARAMETER_UNKNOWN: (
            "The query string has a parameter that this path does not take, or has one twice; the GraphQL path takes "
            "none at all. Remove it, and send GraphQL in the body."
        ),
        Reason.STORE_UNAVAILABLE: (
            "The gateway cannot look up credentials just now; yours may well be good. Try again after the seconds that "
            "Retry-After names."
        ),
        Reason.ISSUER_UNAVAILABLE: (
            "The public keys of whoever issued the token are not known, or a new one could not be fetched, so nobody "
            "can tell whether the token is good. Keep the token and try again after the seconds in Retry-After."
        ),
        Reason.KEY_NOT_REVOKED: (
            "The store could not write just now, so take the key for one that works still. Send the request again "
            "until it is answered with 200, or with credential_invalid, which means that the key had ended after all."
        ),
        Reason.REVOCATION_UNKNOWN: (
            "The store was asked to end the key, and its answer was lost. Send the request again until it is answered "
            "with 200, or with credential_invalid, which means that the key has ended; until then take it for one that "
            "works."
        ),
        Reason.SIGNATURE_INVALID: (
            "The report of leaked tokens is not signed by one of the keys that its source publishes, or was changed on "
            "its way. Sign the bytes of the body as they are sent, with ECDSA on P-256 and SHA-256."
        ),
        Reason.SIGNATURE_UNCHECKED: (
            "The public keys of the source of the report cannot be fetched just now, or were a moment ago and do not "
            "have this one yet; nothing was read. Send the report again after the seconds that Retry-After names."
        ),
        Reason.NOT_ISSUED: (
            "The store that keeps codes and user tokens could not keep a new one, or did not say that it did. Try "
            "again after a second; if an authentication code is refused then, it has been spent: ask for a new one."
        ),
        Reason.REGION_UNAVAILABLE: (
            "The region of this app is not served by this gateway at the moment. Try again later, or ask whoever runs "
            "it."
        ),
        Reason.UPSTREAM_UNREACHABLE: (
            "The gateway let the request pass, but could not connect to the API behind it. Try again; if it goes on, "
            "tell whoever runs the gateway the request id."
        ),
        Reason.UPSTREAM_MALFORMED: (
            "The API behind the gateway gave an answer that is not safe to pass on. The operation may have been "
            "carried out; tell whoever runs the gateway the request id."
        ),
        Reason.UPSTREAM_TIMEOUT: (
            "The API behind the gateway did not answer in time. The operation may still be carried out; ask for less "
            "at a time, and repeat a mutation only if it is safe to."
        ),
        Reason.INTERNAL_ERROR: (
            "Something went wrong in the gateway itself, and it refused to be safe. Tell whoever runs it the request "
            "id; the log has the cause."
        ),
    }
)
