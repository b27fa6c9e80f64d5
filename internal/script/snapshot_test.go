package script

import "testing"

func TestRulesLeavesOutWhatLasts(t *testing.T) {
	listing := `table ip fairlead {
	chain services {
		accept
	}

	chain lb-1 {
		drop
	}
}
table ip6 fairlead {
	map affinity {
		type ipv6_addr
	}

	set dns {
		type ipv6_addr
	}
}
`
	want := `table ip fairlead {
	chain services {
		accept
	}

table ip6 fairlead {
	set dns {
		type ipv6_addr
	}
}

`
	if got := rules(listing); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
