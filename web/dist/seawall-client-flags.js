// seawall-client 0.1.0, MIT OR Apache-2.0
function t(t){let e=(t,e)=>`seawall.flags ${t} ${e}`;return{load(a,l){try{return JSON.parse((t??localStorage).getItem(e(a,l))??"null")??void 0}catch{return}},save(a,l,r){try{(t??localStorage).setItem(e(a,l),JSON.stringify(r??null))}catch{}}}}export{t as keptFlags};
