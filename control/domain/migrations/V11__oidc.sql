-- Who a person is at an identity provider: logs in without a password.
CREATE TABLE login_identity (
    issuer TEXT NOT NULL,
    -- As the provider names the person, for ever; never an e-mail address.
    subject TEXT NOT NULL,
    account BLOB NOT NULL REFERENCES login (account),
    linked_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject),
    UNIQUE (account, issuer)
) STRICT;
